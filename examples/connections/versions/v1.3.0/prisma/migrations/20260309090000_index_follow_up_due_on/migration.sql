CREATE INDEX "follow_up_due_on_idx" ON "follow_up"("due_on");
