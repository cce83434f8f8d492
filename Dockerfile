# Pointsman's own image: worker, reconciler, receiver and Prefect's server are processes of this one image.
# Both base images can be replaced, by ones pinned to a digest or by a mirror's; compose.yaml passes these arguments.
ARG BASE_IMAGE=python:3.13-slim-trixie
ARG TERRAFORM_IMAGE=hashicorp/terraform:1.11.4

FROM ${TERRAFORM_IMAGE} AS terraform

FROM ${BASE_IMAGE} AS tools
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      ca-certificates docker-buildx docker-cli git git-lfs openssh-client \
 && rm -rf /var/lib/apt/lists/*
COPY --from=terraform /bin/terraform /usr/local/bin/terraform

# Terraform's provider: downloaded once and checked against the lock file, or taken from the Terraform image if that has it.
FROM tools AS provider
COPY --from=terraform /registry.terraform.i[o] /opt/providers/registry.terraform.io
COPY scripts/keep-provider /pointsman/scripts/keep-provider
COPY terraform/slot /pointsman/terraform/slot
RUN /pointsman/scripts/keep-provider && cp -rL /usr/local/share/terraform /provider

FROM tools AS packages
COPY requirements.lock /requirements.lock
RUN python3 -m venv /opt/pointsman \
 && /opt/pointsman/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes --requirement /requirements.lock \
 && /opt/pointsman/bin/python -m compileall -q /opt/pointsman/lib

FROM tools
# The id is fixed, as files of the machine (the secrets) belong to it.
RUN groupadd --gid 10001 pointsman \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/pointsman --create-home --shell /usr/sbin/nologin pointsman
COPY --from=provider /provider /usr/local/share/terraform
COPY --from=packages /opt/pointsman /opt/pointsman
COPY . /srv/pointsman
# Whatever the checkout's modes are, the image's user can read it, and write none of it.
RUN chmod -R a+rX,go-w /srv/pointsman && /opt/pointsman/bin/python -m compileall -q /srv/pointsman
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pointsman" org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/pointsman/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/srv/pointsman \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/pointsman \
    TMPDIR=/var/lib/pointsman/tmp \
    PREFECT_HOME=/var/lib/pointsman/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1
USER 10001:10001
WORKDIR /srv/pointsman
ENTRYPOINT ["/srv/pointsman/deploy/machine/entrypoint"]
