#!lua flags=no-writes
-- The table, unless the reader has it already.
-- KEYS: 1 the table
-- ARGV: 1 the mark that the reader knows, empty for none
-- Replies: the body; nil when there is no table, or the reader has it
if redis.call('HGET', KEYS[1], 'mark') == ARGV[1] then
  return false
end
return redis.call('HGET', KEYS[1], 'body')
