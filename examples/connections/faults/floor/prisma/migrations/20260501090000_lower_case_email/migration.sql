-- pointsman: rollback-floor
-- Versions that do not write e-mail addresses in lower case can not work on this schema.
ALTER TABLE "connection" ADD CONSTRAINT "connection_email_lower_case" CHECK ("email" = lower("email"));
