-- Publish a notice. KEYS: bus. ARGV: kind, URI, how many are kept, how long (ms).
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'k', ARGV[1], 'u', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
