ALTER TABLE "connection" ADD COLUMN "company" TEXT,
                         ADD COLUMN "note" TEXT;

CREATE INDEX "connection_event_idx" ON "connection"("event");
