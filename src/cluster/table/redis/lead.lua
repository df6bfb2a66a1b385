#!lua flags=allow-oom
-- Gives, or leaves, the coordinator's lease to a node.
-- KEYS: 1 the lease: the name of the node that leads, for as long as it lives
-- ARGV: 1 the node; 2 for how many milliseconds
-- Replies: 1 this node leads; 0 another one does
local leads = redis.call('GET', KEYS[1])
if leads and leads ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
