-- The name is blank, which the check constraint "connection_name_not_blank" forbids.
INSERT INTO "connection" ("name", "email", "event", "met_on") VALUES ('', 'organiser@example.org', 'all', '2026-05-01');
