#!lua flags=allow-oom
-- Replaces the table by compare-and-set. It is one small value: worth its place also when memory is short.
-- KEYS: 1 the table, a hash of `version`, `mark` (of cluster, version and body: what a poll compares) and `body` (JSON)
-- ARGV: 1 the version that must stand, empty for none; 2 the new version; 3 its mark; 4 its body
-- Replies: 1 it stands, also when it did before (a lost answer); 0 another one does
local current = redis.call('HMGET', KEYS[1], 'version', 'body')
local version = current[1] or ''
if version == ARGV[2] and current[2] == ARGV[4] then
  return 1
end
if version ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'mark', ARGV[3], 'body', ARGV[4])
return 1
