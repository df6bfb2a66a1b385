#!lua flags=no-writes
-- The nodes that announced themselves of late, by Redis's own time (see register.lua).
-- KEYS: 1 the registrations
-- ARGV: 1 seconds after which a silent node leaves
-- Replies: node, addresses, node, addresses, …
local now = tonumber(redis.call('TIME')[1])
local all = redis.call('HGETALL', KEYS[1])
local living = {}
for i = 1, #all, 2 do
  local seconds, addresses = string.match(all[i + 1], '^(%d+) %S+ (.*)$')
  if now - tonumber(seconds) < tonumber(ARGV[1]) then
    living[#living + 1] = all[i]
    living[#living + 1] = addresses
  end
end
return living
