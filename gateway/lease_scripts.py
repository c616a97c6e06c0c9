"""What Redis does in one step for `leases`: report and lease of a budget, renewal of a window's units. Lua.

Amounts are nano-USD, exact as doubles up to 9 million dollars; time is the clock of Redis, one for all processes.
"""

from __future__ import annotations

# 1 process, 2 amount, 3 sequence, 4 newly spent, 5 reserved, 6 room, 7 needed, 8 wished, 9 floor (-1: not known),
# 10 generation as we know it, 11 generation for a new key, 12 milliseconds of a lease, 13 seconds of the key
BUDGET = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine = ARGV[1]
local generation = redis.call('HGET', KEYS[1], 'generation')
local floor = tonumber(ARGV[9])
if not generation then
  if floor < 0 then return {'missing'} end
  generation = ARGV[11]
  redis.call('HSET', KEYS[1], 'generation', generation, 'spent', '0')
elseif ARGV[10] ~= '' and ARGV[10] ~= generation then
  return {'missing'}
end
local spent = tonumber(redis.call('HGET', KEYS[1], 'spent'))
if floor > spent then spent = floor end
local sequence = tonumber(redis.call('HGET', KEYS[1], 'q:' .. mine) or '0')
if tonumber(ARGV[3]) > sequence then
  spent = spent + tonumber(ARGV[4])
  redis.call('HSET', KEYS[1], 'q:' .. mine, ARGV[3])
end
redis.call('HSET', KEYS[1], 'spent', string.format('%.0f', spent))
local held = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'h:' and all[i] ~= 'h:' .. mine then
    local expires, amount = string.match(all[i + 1], '^(%d+) (-?%d+)$')
    if tonumber(expires) < now then
      redis.call('HDEL', KEYS[1], all[i], 'q:' .. string.sub(all[i], 3))
    else
      held = held + tonumber(amount)
    end
  end
end
local reserved, room = tonumber(ARGV[5]), tonumber(ARGV[6])
local needed, wished = tonumber(ARGV[7]), tonumber(ARGV[8])
local left = tonumber(ARGV[2]) - spent - held - reserved - room
local grant = 0
if left < 0 then
  grant = -math.min(math.max(room, 0), -left)
elseif needed <= room + left then
  grant = math.min(left, math.max(0, needed - room, math.min(wished - room, math.floor(left / 4))))
end
local hold = string.format('%.0f %.0f', now + tonumber(ARGV[12]), reserved + room + grant)
redis.call('HSET', KEYS[1], 'h:' .. mine, hold)
redis.call('EXPIRE', KEYS[1], ARGV[13])
return {'ok', generation, string.format('%.0f', spent), string.format('%.0f', held), string.format('%.0f', grant)}
"""

# 1 limit, 2 needed, 3 wished, 4 second of the lease that is kept, 5 units of it, then pairs of second and correction
WINDOW = """
local now = tonumber(redis.call('TIME')[1])
local key = KEYS[1]
for i = 6, #ARGV, 2 do
  if tonumber(ARGV[i]) > now - 61 then redis.call('HINCRBY', key, ARGV[i], ARGV[i + 1]) end
end
local kept, from = tonumber(ARGV[5]), tonumber(ARGV[4])
if kept > 0 then
  if from > now - 61 and tonumber(redis.call('HGET', key, ARGV[4]) or '0') >= kept then
    redis.call('HINCRBY', key, ARGV[4], -kept)
  end
  redis.call('HINCRBY', key, now, kept)
end
local used, seconds, units = 0, {}, {}
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local second, count = tonumber(all[i]), tonumber(all[i + 1])
  if second <= now - 61 then
    redis.call('HDEL', key, all[i])
  else
    used = used + count
    units[second] = count
    table.insert(seconds, second)
  end
end
local limit, needed, wished = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local left = limit - used
local grant, wait = 0, 0
if needed <= kept + left then
  grant = math.max(0, math.min(left, math.max(needed - kept, math.min(wished - kept, math.floor(left / 4)))))
else
  table.sort(seconds)
  local missing = needed - kept - left
  wait = 60
  for _, second in ipairs(seconds) do
    missing = missing - units[second]
    if missing <= 0 then
      wait = second + 61 - now
      break
    end
  end
end
if grant > 0 then redis.call('HINCRBY', key, now, grant) end
redis.call('EXPIRE', key, 120)
return {grant, used + grant, now, wait}
"""
