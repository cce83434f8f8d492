# The secret without its value, which a person writes once: so no secret is in the state or in user data.
resource "aws_secretsmanager_secret" "machine" {
  name        = "${var.namespace}/${var.name}/${var.stage}-control"
  description = "A JSON object; the machine that releases into ${local.stage_prefix} writes each key's value into a file of that name"

  lifecycle {
    prevent_destroy = true
  }
}
