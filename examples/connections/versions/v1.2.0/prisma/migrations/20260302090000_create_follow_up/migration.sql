CREATE TABLE "follow_up" (
    "id" SERIAL NOT NULL,
    "connection_id" INTEGER NOT NULL,
    "due_on" DATE NOT NULL,
    "text" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "follow_up_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "follow_up_connection_id_fkey" FOREIGN KEY ("connection_id")
        REFERENCES "connection"("id") ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE INDEX "follow_up_connection_id_idx" ON "follow_up"("connection_id");
