-- KEYS: one for each check. ARGV[1]: the time, twelve bytes, or nothing for the server's. ARGV[2]: "A" when all checks
-- are one decision. ARGV[2 + i]: the check of KEYS[i].
-- Answers the time, and for each check its outcome and what was stored before.
local unpack_, pack_, sub = struct.unpack, struct.pack, string.sub
local fmod = math.fmod
local now_s, now_n
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now_s, now_n = tonumber(time[1]), tonumber(time[2]) * 1000
else
  now_s, now_n = unpack_('>I8I4', ARGV[1])
end
local now_ms = now_s * 1000 + (now_n - fmod(now_n, 1e6)) / 1e6
local DENIED, ALLOWED, UNFIT, BROKEN = 0, 1, 2, 3
local WIDTH = { [0] = 20, [1] = 20, [2] = 12, [4] = 16, [5] = 20 }

-- Spans are seconds, nanoseconds and a fraction.
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

-- Each answers the outcome, the state to store and for how many milliseconds.
local function bucket(check, at, state)
  local q, fs, fn, fp, cs, cn, cp = unpack_('>I4I8I4I4I8I4I4', check, at)
  local ds, dn, dp = 0, 0, 0
  if state then
    local s, n, p, stored_q = unpack_('>I8I4I4I4', state)
    -- What no state can be is told by those who know more of them.
    if s >= 18446744073 or n >= 1e9 or (p > 0 and p >= stored_q) then return UNFIT end
    if stored_q ~= q and p > 0 then
      p = 0; n = n + 1
      if n == 1e9 then n = 0; s = s + 1 end
    end
    if s > now_s or (s == now_s and n >= now_n) then
      ds, dn, dp = s - now_s, n - now_n, p
      if dn < 0 then dn = dn + 1e9; ds = ds - 1 end
    end
    if later(ds, dn, dp, fs, fn, fp) then return UNFIT end
  end
  local delay_s, delay_n = unpack_('>I8I4', check, 7)
  if delay_s > 0 or delay_n > 0 then
    local ws, wn = ds, dn
    if dp > 0 then ws, wn = plus(ws, wn, 0, 0, 1, 0, 1) end
    if later(ws, wn, 0, delay_s, delay_n, 0) then return DENIED end
  end
  local ts, tn, tp = plus(ds, dn, dp, cs, cn, cp, q)
  if later(ts, tn, tp, fs, fn, fp) then return DENIED end
  local ms = ts * 1000 + math.ceil((tp > 0 and tn + 1 or tn) / 1e6)
  local s, n, p = plus(ts, tn, tp, now_s, now_n, 0, q)
  return ALLOWED, pack_('>I8I4I4I4', s, n, p, q), ms
end

local function window_of(period_ms) return (now_ms - fmod(now_ms, period_ms)) / period_ms end

local function fixed(check, at, state, cost)
  local limit, period = unpack_('>I4I8', check, at)
  local window, count = window_of(period), 0
  if state then
    local stored, stored_count = unpack_('>I8I4', state)
    if stored > window and stored_count > 0 then return UNFIT end
    if stored == window then count = stored_count end
  end
  if count + cost > limit then return DENIED end
  return ALLOWED, pack_('>I8I4', window, count + cost), (window + 1) * period - now_ms
end

local function counter(check, at, state, cost)
  local limit, period = unpack_('>I4I8', check, at)
  -- What is multiplied below fits a double for periods of up to two years.
  if period > 2 ^ 36 then return UNFIT end
  local window, previous, current = window_of(period), 0, 0
  if state then
    local stored, before, count = unpack_('>I8I4I4', state)
    if stored > window and (before > 0 or count > 0) then return UNFIT end
    if stored == window then previous, current = before, count
    elseif stored == window - 1 then previous = count end
  end
  local room = limit - current - cost
  if room < 0 then return DENIED end
  -- previous * what is left of the window <= room * the period, in halves of sixteen bits.
  local left = period - fmod(now_ms, period)
  local pl, rl = fmod(previous, 65536), fmod(room, 65536)
  local high = (previous - pl) / 65536 * left - (room - rl) / 65536 * period
  local low = pl * left - rl * period
  if high > 2 ^ 36 then return DENIED end
  if high >= -2 ^ 36 then
    local over = high * 65536 + low
    if over > 0 and (over > 2 ^ 32 or over * 1e6 > previous * fmod(now_n, 1e6)) then return DENIED end
  end
  return ALLOWED, pack_('>I8I4I4', window, previous, current + cost), (window + 2) * period - now_ms
end

-- A log's answer is not its state, which can be long, but what follows from it: what counts, when enough of it has left,
-- and when all of it will have.
local function log(check, at, stored, place, cost)
  local limit, ps, pn = unpack_('>I4I8I4', check, at)
  local count, total, first = 0, 0, 0
  local function entry(i) return unpack_('>I8I4I4', stored, place + 12 + 16 * i) end
  local function ends(i)
    local s, n, c = entry(i)
    s, n = s + ps, n + pn
    if n >= 1e9 then n = n - 1e9; s = s + 1 end
    return s, n, c
  end
  local after_place = place
  if stored then
    count, total = unpack_('>I4I8', stored, place)
    after_place = place + 12 + 16 * count
    if count > 0 then
      local s, n = entry(count - 1)
      if s > now_s or (s == now_s and n > now_n) then return UNFIT end
    end
    if total < 0 or (count == 0 and total ~= 0) then error('no log') end
    while first < count do
      local s, n, c = ends(first)
      if s > now_s or (s == now_s and n > now_n) then break end
      total = total - c
      if total < 0 then error('no log') end
      first = first + 1
    end
  end
  local said = { total, 0, 0, 0, 0 }
  if first < count then said[4], said[5] = ends(count - 1) end
  if total + cost > limit then
    local missing, i = total + cost - limit, first
    while i < count and missing > 0 do
      local s, n, c = ends(i)
      missing = missing - c
      said[2], said[3] = s, n
      i = i + 1
    end
    return DENIED, nil, nil, after_place, pack_('>I8I8I4I8I4', unpack(said))
  end
  local entries = ''
  local kept = count - first
  if kept > 0 then
    local s, n, c = entry(count - 1)
    local last = after_place - 1
    if s == now_s and n == now_n then
      entries = sub(stored, place + 12 + 16 * first, last - 4) .. pack_('>I4', c + cost)
      kept = kept - 1
    else
      entries = sub(stored, place + 12 + 16 * first, last) .. pack_('>I8I4I4', now_s, now_n, cost)
    end
  else
    entries = pack_('>I8I4I4', now_s, now_n, cost)
  end
  return ALLOWED, pack_('>I4I8', kept + 1, total + cost) .. entries, ps * 1000 + pn / 1e6, after_place,
    pack_('>I8I8I4I8I4', unpack(said))
end

local STEP = { [0] = bucket, [1] = bucket, [2] = fixed, [4] = counter, [5] = bucket }
local ARG = { [0] = 36, [1] = 36, [2] = 12, [3] = 16, [4] = 12, [5] = 36 }

-- Whether the first states are those of these rates.
local function fits(check, stored, rates, width, step)
  for rate = 0, rates - 1 do
    local at, place = 19 + rate * step, 4 + rate * width
    if sub(stored, place, place + 7) ~= sub(check, at, at + 7) then return false end
  end
  return true
end

-- What is stored, with the states of these rates first, as other limits had other periods; nothing where one of them is
-- not known. The others stay, up to four.
local function fit(check, stored, rates, known, width, step)
  local others, first = {}, {}
  for i = 1, known do others[i] = sub(stored, 4 + (i - 1) * width, 3 + i * width) end
  for rate = 1, rates do
    local at = 19 + (rate - 1) * step
    local period = sub(check, at, at + 7)
    for i, other in ipairs(others) do
      if sub(other, 1, 8) == period then
        first[rate] = table.remove(others, i)
        break
      end
    end
    if not first[rate] then return end
  end
  local kept = math.min(#others, 4)
  return sub(stored, 1, 3) .. table.concat(first) .. table.concat(others, '', 1, kept), rates + kept
end

-- Every rate of a key; the answer, what to store and for how long, and what the caller is told of the state before.
local function decide(check, before)
  local algorithm, rates, cost = unpack_('>I1I1I4', check)
  local stored, known = before, 0
  if stored then
    local format, of, count = unpack_('>I1I1I1', stored)
    if format ~= 1 or of ~= algorithm or (count > 0 and count < rates) then return UNFIT end
    known = count
    if algorithm ~= 3 and #stored ~= 3 + known * (8 + WIDTH[algorithm]) then return UNFIT end
    if known > 1 and algorithm ~= 3 then
      local width, step = 8 + WIDTH[algorithm], 8 + ARG[algorithm]
      if not fits(check, stored, rates, width, step) then
        stored, known = fit(check, stored, rates, known, width, step)
        if not stored then return UNFIT end
      end
    end
  end
  local at, place, out, said, longest = 19, 4, {}, {}, 0
  local outcome = ALLOWED
  for rate = 1, rates do
    local period = sub(check, at, at + 7)
    if known > 0 and sub(stored, place, place + 7) ~= period then return UNFIT end
    local one, after, ms
    if algorithm == 3 then
      one, after, ms, place, said[rate] = log(check, at + 8, known > 0 and stored, place + 8, cost)
    else
      local width = WIDTH[algorithm]
      one, after, ms = STEP[algorithm](check, at + 8, known > 0 and sub(stored, place + 8, place + 7 + width), cost)
      place = place + 8 + width
    end
    if one == UNFIT then return UNFIT end
    if one == DENIED then outcome = DENIED end
    out[rate] = period .. (after or '')
    if ms and ms > longest then longest = ms end
    at = at + 8 + ARG[algorithm]
  end
  local told = algorithm == 3 and table.concat(said) or before
  if outcome == DENIED then return DENIED, nil, nil, told end
  -- Rates that other limits had stand behind these, and stay as long as they would.
  local count, rest = rates, ''
  if known > rates then count, rest = known, sub(stored, place) end
  return ALLOWED, pack_('>I1I1I1', 1, algorithm, count) .. table.concat(out) .. rest, longest, told, known > rates
end

local longer = ARGV[1] == '' and 0 or 3600000
local answers, writes, seen, unfit, refused = { pack_('>I8I4', now_s, now_n) }, {}, {}, {}, false
for i = 1, #KEYS do
  local key = KEYS[i]
  local before = seen[key]
  if before == nil then before = redis.pcall('GET', key) end
  local fine, outcome, after, ms, told, others = true, UNFIT
  if type(before) == 'table' then
    -- It is no string; anything else that is wrong, is wrong with all of it.
    if not string.find(before.err, 'WRONGTYPE', 1, true) then return before end
    before, outcome = '', BROKEN
  elseif not unfit[key] then
    -- Once a key does not fit, what comes after it has to wait for what is decided elsewhere.
    fine, outcome, after, ms, told, others = pcall(decide, ARGV[2 + i], before)
    if not fine then outcome, told = BROKEN, '' end
  end
  if outcome == UNFIT or outcome == BROKEN then unfit[key] = true end
  answers[2 * i] = outcome
  answers[2 * i + 1] = (outcome == UNFIT and before or told) or ''
  if seen[key] == nil then seen[key] = outcome ~= BROKEN and before end
  if outcome == ALLOWED then
    seen[key] = after
    -- One more, as time goes on between two commands.
    ms = ms + 1 + longer
    if others then ms = math.max(ms, redis.call('PTTL', key)) end
    if ARGV[2] == 'A' then writes[#writes + 1] = { key, after, ms }
    else redis.call('SET', key, after, 'PX', ms) end
  else refused = true end
end
if not refused then
  for _, w in ipairs(writes) do redis.call('SET', w[1], w[2], 'PX', w[3]) end
end
return answers
