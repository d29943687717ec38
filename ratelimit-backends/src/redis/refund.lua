-- Gives charges back, or charges more for what was admitted, at most to empty; as `KeyState::adjust` does.
-- KEYS: one for each correction, those of one key in order. ARGV[1]: the time, twelve bytes, or nothing for the server's.
-- ARGV[1 + i]: the correction of KEYS[i].
-- Answers the time, and for each correction whether it was done, what was stored before (of logs: what follows from what is
-- stored now), and what is stored now: nothing where it equals a fresh state.
local unpack_, pack_, sub, call = struct.unpack, struct.pack, string.sub, redis.call
local fmod, ceil, min, max = math.fmod, math.ceil, math.min, math.max
local now_s, now_n
local server = ARGV[1] == ''
if server then
  local time = call('TIME')
  now_s, now_n = tonumber(time[1]), tonumber(time[2]) * 1000
else
  now_s, now_n = unpack_('>I8I4', ARGV[1])
end
local now_ms = now_s * 1000 + (now_n - fmod(now_n, 1e6)) / 1e6
local DONE, UNFIT = 1, 2
local BACK, PLACE, MORE = 1, 2, 3

-- Spans are seconds, nanoseconds and a fraction, of which `q` are a nanosecond.
local function later(as, an, ap, bs, bn, bp)
  if as ~= bs then return as > bs end
  if an ~= bn then return an > bn end
  return ap > bp
end
local function plus(as, an, ap, bs, bn, bp, q)
  local s, n, p = as + bs, an + bn, ap + bp
  if p >= q then p = p - q; n = n + 1 end
  if n >= 1e9 then n = n - 1e9; s = s + 1 end
  return s, n, p
end
local function minus(as, an, ap, bs, bn, bp, q)
  if later(bs, bn, bp, as, an, ap) then return 0, 0, 0 end
  local s, n, p = as - bs, an - bn, ap - bp
  if p < 0 then p = p + q; n = n - 1 end
  if n < 0 then n = n + 1e9; s = s - 1 end
  return s, n, p
end
-- For how many milliseconds from now a state counts, at least, that does so until then.
local function left_ms(s, n)
  return max(0, (s - now_s) * 1000 + ceil((n - now_n) / 1e6))
end

-- Of each algorithm: `read` makes a state of what is stored, or nothing if that does not fit; `room` says how many units of
-- those that are asked for could be charged, `add` charges so many, `back` gives so many back; `write` answers what is to be
-- stored, for how many milliseconds it counts, and whether it ever did.
local bucket = { width = 52, stored = 20 }

function bucket.read(arg, at, stored, place)
  local t, s, n, p, stored_q = {}, 0, 0, 0, 0
  t.q, t.fs, t.fn, t.fp, t.us, t.un, t.up, t.cs, t.cn, t.cp = unpack_('>I4I8I4I4I8I4I4I8I4I4', arg, at)
  if stored then s, n, p, stored_q = unpack_('>I8I4I4I4', stored, place) end
  if n >= 1e9 or p >= max(stored_q, 1) then return end
  t.s, t.n, t.p, t.stored_q = s, n, p, stored_q
  if stored_q ~= t.q and p > 0 then
    p = 0; n = n + 1
    if n == 1e9 then n = 0; s = s + 1 end
  end
  t.ds, t.dn, t.dp = 0, 0, 0
  if s > now_s or (s == now_s and n >= now_n) then
    t.ds, t.dn, t.dp = minus(s, n, p, now_s, now_n, 0, t.q)
    if later(t.ds, t.dn, t.dp, t.fs, t.fn, t.fp) then return end
  end
  return t
end

local function owe(t, s, n, p)
  t.ds, t.dn, t.dp = s, n, p
  t.s, t.n, t.p = plus(s, n, p, now_s, now_n, 0, t.q)
  t.stored_q = t.q
end

function bucket.room(t, most)
  -- The time of one unit, of two, of four, while they fit and are asked for; and from these that of as many as fit.
  local times, count, s, n, p = {}, 1, t.us, t.un, t.up
  while count <= most do
    local ts, tn, tp = plus(t.ds, t.dn, t.dp, s, n, p, t.q)
    if later(ts, tn, tp, t.fs, t.fn, t.fp) then break end
    times[#times + 1] = { count, s, n, p }
    s, n, p = plus(s, n, p, s, n, p, t.q)
    count = count * 2
  end
  t.times = times
  local units
  units, s, n, p = 0, t.ds, t.dn, t.dp
  for i = #times, 1, -1 do
    local time = times[i]
    if units + time[1] <= most then
      local ts, tn, tp = plus(s, n, p, time[2], time[3], time[4], t.q)
      if not later(ts, tn, tp, t.fs, t.fn, t.fp) then units, s, n, p = units + time[1], ts, tn, tp end
    end
  end
  return units
end

function bucket.add(t, units)
  local s, n, p = t.ds, t.dn, t.dp
  for i = #t.times, 1, -1 do
    local time = t.times[i]
    if time[1] <= units then
      units = units - time[1]
      s, n, p = plus(s, n, p, time[2], time[3], time[4], t.q)
    end
  end
  owe(t, s, n, p)
end

function bucket.back(t, _, place)
  local cs, cn, cp = t.cs, t.cn, t.cp
  if place and (t.s ~= cs or t.n ~= cn or t.p ~= cp) then return end
  if cs < now_s or (cs == now_s and cn < now_n) then return end
  if t.ds == 0 and t.dn == 0 and t.dp == 0 then return end
  -- What of the charge has not been refilled since.
  if cp >= t.q then cp = 0 end
  local bs, bn, bp = minus(cs, cn, cp, now_s, now_n, 0, t.q)
  if later(bs, bn, bp, t.us, t.un, t.up) then bs, bn, bp = t.us, t.un, t.up end
  owe(t, minus(t.ds, t.dn, t.dp, bs, bn, bp, t.q))
end

function bucket.write(t)
  local ever = t.s > 0 or t.n > 0 or t.p > 0
  return pack_('>I8I4I4I4', t.s, t.n, t.p, t.stored_q), left_ms(t.s, t.p > 0 and t.n + 1 or t.n), ever
end

local function window_of(period_ms) return (now_ms - fmod(now_ms, period_ms)) / period_ms end

local fixed = { width = 20, stored = 12 }

function fixed.read(arg, at, stored, place)
  local t = { window = 0, count = 0 }
  t.limit, t.period, t.charged = unpack_('>I4I8I8', arg, at)
  if stored then t.window, t.count = unpack_('>I8I4', stored, place) end
  t.now = window_of(t.period)
  if t.window > t.now then return end
  t.used = t.window == t.now and t.count or 0
  return t
end

function fixed.room(t, most) return max(0, min(most, t.limit - t.used)) end

function fixed.add(t, units) t.window, t.count = t.now, t.used + units end

function fixed.back(t, units)
  if t.charged == t.now then t.window, t.count = t.now, max(0, t.used - units) end
end

function fixed.write(t)
  local ms = t.count > 0 and (t.window + 1) * t.period - now_ms or 0
  return pack_('>I8I4', t.window, t.count), max(0, ms), t.count > 0
end

local counter = { width = 20, stored = 16 }

function counter.read(arg, at, stored, place)
  local t = { window = 0, before = 0, count = 0, previous = 0, current = 0 }
  t.limit, t.period, t.charged = unpack_('>I4I8I8', arg, at)
  -- What is multiplied below fits a double for periods of up to two years.
  if t.period > 2 ^ 36 then return end
  if stored then t.window, t.before, t.count = unpack_('>I8I4I4', stored, place) end
  t.now = window_of(t.period)
  if t.window > t.now then return end
  if t.window == t.now then t.previous, t.current = t.before, t.count
  elseif t.window == t.now - 1 then t.previous = t.count end
  return t
end

-- Whether previous * what is left of the window <= room * the period, in halves of sixteen bits.
local function weighs_at_most(t, room)
  local left = t.period - fmod(now_ms, t.period)
  local pl, rl = fmod(t.previous, 65536), fmod(room, 65536)
  local high = (t.previous - pl) / 65536 * left - (room - rl) / 65536 * t.period
  local low = pl * left - rl * t.period
  if high > 2 ^ 36 then return false end
  if high < -2 ^ 36 then return true end
  local over = high * 65536 + low
  return over <= 0 or (over <= 2 ^ 32 and over * 1e6 <= t.previous * fmod(now_n, 1e6))
end

function counter.room(t, most)
  local fit, try = 0, min(most, t.limit - t.current)
  if try <= 0 then return 0 end
  if weighs_at_most(t, t.limit - t.current - try) then return try end
  while try - fit > 1 do
    local middle = fit + math.floor((try - fit) / 2)
    if weighs_at_most(t, t.limit - t.current - middle) then fit = middle else try = middle end
  end
  return fit
end

function counter.add(t, units) t.window, t.before, t.count = t.now, t.previous, t.current + units end

function counter.back(t, units)
  if t.charged == t.now then
    t.window, t.before, t.count = t.now, t.previous, max(0, t.current - units)
  elseif t.charged == t.now - 1 then
    t.window, t.before, t.count = t.now, max(0, t.previous - units), t.current
  end
end

function counter.write(t)
  local windows = t.count > 0 and 2 or t.before > 0 and 1 or 0
  local ms = windows > 0 and (t.window + windows) * t.period - now_ms or 0
  return pack_('>I8I4I4', t.window, t.before, t.count), max(0, ms), windows > 0
end

-- What is stored of a log is as long as it has entries.
local log = { width = 28 }

local function entry(t, i) return unpack_('>I8I4I4', t.entries, 1 + 16 * i) end

-- Where an entry stands, or would: how many there are before it.
local function position(t, s, n)
  local from, to = 0, t.count
  while from < to do
    local middle = math.floor((from + to) / 2)
    local es, en = entry(t, middle)
    if es < s or (es == s and en < n) then from = middle + 1 else to = middle end
  end
  return from
end

function log.read(arg, at, stored, place)
  local t = { count = 0, total = 0, entries = '', first = 0 }
  t.limit, t.ps, t.pn, t.cs, t.cn = unpack_('>I4I8I4I8I4', arg, at)
  if stored then
    t.count, t.total = unpack_('>I4I8', stored, place)
    t.stored = 12 + 16 * t.count
    t.entries = sub(stored, place + 12, place + t.stored - 1)
  end
  t.used = t.total
  if t.count > 0 then
    local s, n = entry(t, t.count - 1)
    if s > now_s or (s == now_s and n > now_n) then return end
  end
  -- Those that no longer count.
  while t.first < t.count do
    local s, n, cost = entry(t, t.first)
    s, n = plus(s, n, 0, t.ps, t.pn, 0, 1)
    if s > now_s or (s == now_s and n > now_n) then break end
    t.used = t.used - cost
    t.first = t.first + 1
  end
  if t.used < 0 or (t.used == 0) ~= (t.first == t.count) then return end
  return t
end

function log.room(t, most) return max(0, min(most, t.limit - t.used)) end

function log.add(t, units)
  local entries, count = sub(t.entries, 1 + 16 * t.first), t.count - t.first
  local s, n, cost
  if count > 0 then s, n, cost = entry(t, t.count - 1) end
  if s == now_s and n == now_n then
    entries, units = sub(entries, 1, -17), units + cost
    count = count - 1
    t.total = t.used - cost + units
  else
    t.total = t.used + units
  end
  t.entries, t.count, t.first = entries .. pack_('>I8I4I4', now_s, now_n, units), count + 1, 0
  t.used = t.total
end

function log.back(t, units)
  local i = position(t, t.cs, t.cn)
  if i == t.count then return end
  local s, n, cost = entry(t, i)
  if s ~= t.cs or n ~= t.cn then return end
  local back = min(cost, units)
  t.total = t.total - back
  if i >= t.first then t.used = t.used - back end
  local one = ''
  if back < cost then one = pack_('>I8I4I4', s, n, cost - back)
  else t.count = t.count - 1 end
  t.entries = sub(t.entries, 1, 16 * i) .. one .. sub(t.entries, 17 + 16 * i)
end

function log.write(t)
  local ms, s, n = 0
  if t.count > 0 then
    s, n = entry(t, t.count - 1)
    s, n = plus(s, n, 0, t.ps, t.pn, 0, 1)
    ms = left_ms(s, n)
  end
  t.said = pack_('>I8I8I4', t.used, s or 0, n or 0)
  return pack_('>I4I8', t.count, t.total) .. t.entries, ms, t.count > 0
end

local ALGORITHM = { [0] = bucket, [1] = bucket, [2] = fixed, [3] = log, [4] = counter, [5] = bucket }

-- Every rate of a key; what the caller is told, what is to be stored and for how long. Nothing where it does not fit.
local function adjust(correction, stored)
  local number, rates, how, units = unpack_('>I1I1I1I4', correction)
  if stored then
    local format, of, count = unpack_('>I1I1I1', stored)
    if format ~= 1 or of ~= number or count ~= rates then return end
  end
  local algorithm, states, periods = ALGORITHM[number], {}, {}
  local at, place = 8, 4
  for rate = 1, rates do
    periods[rate] = sub(correction, at, at + 7)
    if stored and sub(stored, place, place + 7) ~= periods[rate] then return end
    local state = algorithm.read(correction, at + 8, stored, place + 8)
    if not state then return end
    states[rate] = state
    at = at + 8 + algorithm.width
    if stored then place = place + 8 + (algorithm.stored or state.stored) end
  end
  if stored and place ~= #stored + 1 then return end
  if how == MORE then
    for rate = 1, rates do units = algorithm.room(states[rate], units) end
    if units > 0 then
      for rate = 1, rates do algorithm.add(states[rate], units) end
    end
  elseif how == BACK or how == PLACE then
    for rate = 1, rates do algorithm.back(states[rate], units, how == PLACE) end
  end
  local out, said, longest, lived = { pack_('>I1I1I1', 1, number, rates) }, { pack_('>I4', units) }, 0, false
  for rate = 1, rates do
    local bytes, ms, ever = algorithm.write(states[rate])
    out[rate + 1], said[rate + 1] = periods[rate] .. bytes, states[rate].said
    longest, lived = max(longest, ms), lived or ever
  end
  local told = algorithm == log and table.concat(said) or stored or ''
  -- A clock that may step back can make a state count again that is over.
  if longest == 0 and (server or not lived) then return told, '' end
  return told, table.concat(out), longest
end

local longer = server and 0 or 3600000
local answers, seen, unfit = { pack_('>I8I4', now_s, now_n) }, {}, {}
for i = 1, #KEYS do
  local key = KEYS[i]
  local before = seen[key]
  if before == nil then before = redis.pcall('GET', key) end
  local fine, told, after, ms
  -- Once a key does not fit, what comes after it has to wait for what is decided elsewhere.
  if not unfit[key] and type(before) ~= 'table' then
    fine, told, after, ms = pcall(adjust, ARGV[1 + i], before)
  end
  if fine and told then
    if after == '' then
      if before then call('DEL', key) end
    elseif after ~= before then
      -- One more, as time goes on between two commands.
      call('SET', key, after, 'PX', ms + 1 + longer)
    end
    seen[key] = after ~= '' and after or false
    if sub(ARGV[1 + i], 1, 1) == '\3' then after = '' end
    answers[#answers + 1], answers[#answers + 2], answers[#answers + 3] = DONE, told, after
  else
    unfit[key], seen[key] = true, before or false
    answers[#answers + 1], answers[#answers + 2], answers[#answers + 3] = UNFIT, '', ''
  end
end
return answers
