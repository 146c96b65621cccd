-- Takes from every counter, or from none if one has no room, in one step.
-- KEYS: the counters. ARGV[1]: take, or peek, which changes nothing. ARGV[2]: 0, or the time in milliseconds (tests).
-- Then for each counter: the amount, the limit, the milliseconds in which the whole is refilled, and the level that the caller last
-- heard of, refilled since: it stands in for a counter that the server has lost.
-- A counter is "level at limit": the level in units times milliseconds, when it was that, and the limit that refills it.
-- Returns 1 or 0, and each level after it.
local now = tonumber(ARGV[2])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local values = redis.call('MGET', unpack(KEYS))
local out = {1}
for i = 1, #KEYS do
  local limit, per = tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  local level = tonumber(ARGV[4 * i + 2])
  if values[i] then
    local l, at, was = string.match(values[i], '^(%d+) (%d+) (%d+)$')
    l, at, was = tonumber(l), tonumber(at), tonumber(was)
    level = math.max(l - math.max(now - at, 0) * was, 0)
    if limit < was then
      level = math.min(level, limit * per) + math.max(level - was * per, 0)
    end
  end
  if level + ARGV[4 * i - 1] * per > limit * per then
    out[1] = 0
  end
  out[i + 1] = level
end
if out[1] == 0 or ARGV[1] == 'peek' then
  return out
end
for i = 1, #KEYS do
  local limit, per = tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  local level = out[i + 1] + ARGV[4 * i - 1] * per
  out[i + 1] = level
  -- Longer than it takes to be full: see the floor above, which must not outlive the counter it stands for.
  redis.call('SET', KEYS[i], string.format('%.0f %.0f %.0f', level, now, limit), 'PX', string.format('%.0f', math.ceil(level / limit) + per))
end
return out
