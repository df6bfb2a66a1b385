#!lua flags=no-writes
-- The table, unless the reader has it already.
-- KEYS: 1 the table
-- ARGV: 1 the mark that the reader knows, empty for none
-- Replies: the body; an empty string when the reader has it; nil when there is no table
local mark = redis.call('HGET', KEYS[1], 'mark')
if not mark then
  return false
end
if mark == ARGV[1] then
  return ''
end
return redis.call('HGET', KEYS[1], 'body')
