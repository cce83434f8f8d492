"""Measurements on the running sandbox: releases against the same commands by hand, rollbacks, webhooks, kills."""
