-- Which keys expire soon.
CREATE INDEX keys_by_expiry ON keys (organization, expires_at) WHERE expires_at > 0;
