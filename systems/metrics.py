"""What CloudWatch counted of a load balancer.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from systems.aws import aws_errors

__all__ = ["requests_served"]


def requests_served(cloudwatch: Any, balancer: str, until: datetime, within: timedelta) -> int:
    """Return how many requests a load balancer, named by its ARN, answered in the time before `until`.

    Health checks do not count.
    """
    dimension = {"Name": "LoadBalancer", "Value": balancer.partition(":loadbalancer/")[2]}
    with aws_errors("counting the load balancer's requests"):
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/ApplicationELB",
            MetricName="RequestCount",
            Dimensions=[dimension],
            StartTime=until - within,
            EndTime=until,
            Period=60,
            Statistics=["Sum"],
        )
    counted: float = sum(point["Sum"] for point in found["Datapoints"])
    return round(counted)
