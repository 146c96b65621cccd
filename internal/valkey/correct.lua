-- Adds to counters what turned out to be used more or less than was taken, whether it fits or not.
-- KEYS: the counters. ARGV[1]: 0, or the time in milliseconds (tests). Then for each counter: what to add, in units times milliseconds,
-- the limit, the milliseconds in which the whole is refilled, and the level to begin from where the server has lost the counter.
local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local values = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do
  local limit, per = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local level = tonumber(ARGV[4 * i + 1])
  if values[i] then
    local l, at, was = string.match(values[i], '^(%d+) (%d+) (%d+)$')
    l, at, was = tonumber(l), tonumber(at), tonumber(was)
    level = math.max(l - math.max(now - at, 0) * was, 0)
    if limit < was then
      level = math.min(level, limit * per) + math.max(level - was * per, 0)
    end
  end
  local after = math.min(math.max(level + ARGV[4 * i - 2], 0), 9e15 * 512)
  -- A counter of which something was given back lives as long as it would have: other nodes go by what they last heard.
  local ttl = math.ceil(math.max(level, after) / limit) + per
  redis.call('SET', KEYS[i], string.format('%.0f %.0f %.0f', after, now, limit), 'PX', string.format('%.0f', ttl))
end
return redis.status_reply('OK')
