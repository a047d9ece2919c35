#!lua flags=allow-oom
-- See that a key may be used, and leave it as it is. KEYS: one that the deployment shares.
redis.call('TYPE', KEYS[1])
return 1
