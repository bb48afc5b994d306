"""The spine under every fault we know of: one result per call, siblings kept, the right code, no secret said."""
