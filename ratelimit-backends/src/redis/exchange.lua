-- Stores what another place has decided, if nothing has changed since. KEYS: the keys. ARGV[1]: the time, twelve bytes, or
-- nothing for the server's. ARGV[2]: how many of the keys are to be stored, the first ones; for each of these: what has to be there
-- (nothing for no key), what comes there (nothing to remove it), and for how many milliseconds.
-- Answers whether it was stored, the time, and what is now in each key: false where that is no string.
local time = ARGV[1]
if time == '' then
  local now = redis.call('TIME')
  time = struct.pack('>I8I4', tonumber(now[1]), tonumber(now[2]) * 1000)
end
local count = tonumber(ARGV[2])
local answer, same = { 0, time }, count > 0
for i = 1, #KEYS do
  local there = redis.pcall('GET', KEYS[i]) or ''
  if type(there) == 'table' then
    if not string.find(there.err, 'WRONGTYPE', 1, true) then return there end
    there = false
  end
  answer[i + 2] = there
  if i <= count and there ~= ARGV[3 * i] then same = false end
end
if same then
  answer[1] = 1
  for i = 1, count do
    local after = ARGV[3 * i + 1]
    if after == '' then redis.call('DEL', KEYS[i])
    else redis.call('SET', KEYS[i], after, 'PX', ARGV[3 * i + 2]) end
  end
end
return answer
