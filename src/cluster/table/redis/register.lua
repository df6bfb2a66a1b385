#!lua flags=allow-oom
-- Announces a node. The time is Redis's own; after a failover another machine's. No safety hangs on it: who is listed
-- may be given shards that were never claimed, and who is not loses none.
-- KEYS: 1 the registrations, a hash of node to `<seconds> <process> <addresses as JSON>`
-- ARGV: 1 the node; 2 a number of its process; 3 its addresses; 4 seconds after which a silent node leaves; 5 most nodes
-- Replies: 1 done; 2 done, but another process had announced itself under this name since; 0 there are too many nodes
local now = tonumber(redis.call('TIME')[1])
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
  local all = redis.call('HGETALL', KEYS[1])
  local room = false
  for i = 1, #all, 2 do
    if now - tonumber(string.match(all[i + 1], '^%d+')) >= tonumber(ARGV[4]) then
      redis.call('HDEL', KEYS[1], all[i])
      room = true
    end
  end
  if not room then
    return 0
  end
end
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
if before and string.match(before, '^%d+ (%S+)') ~= ARGV[2] then
  return 2
end
return 1
