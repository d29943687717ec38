-- Decides what is asked most: checks of buckets of one rate, without a delay, each by itself; as `decide.lua` does,
-- and several times as fast.
-- KEYS: one for each check. ARGV[1]: the time, twelve bytes, or nothing for the server's. ARGV[2]: unused, as in
-- `decide.lua`. ARGV[2 + i]: the check of KEYS[i].
-- Answers the time, and for each check its outcome and what was stored before.
local unpack_, pack_, call, pcall_ = struct.unpack, struct.pack, redis.call, redis.pcall
local ceil, max, sub = math.ceil, math.max, string.sub
local now_s, now_n, longer
if ARGV[1] == '' then
  local time = call('TIME')
  now_s, now_n, longer = tonumber(time[1]), tonumber(time[2]) * 1000, 1
else
  now_s, now_n = unpack_('>I8I4', ARGV[1])
  longer = 3600001
end
local DENIED, ALLOWED, UNFIT = 0, 1, 2
local answers, unfit = { pack_('>I8I4', now_s, now_n) }, nil
for i = 1, #KEYS do
  local key, before = KEYS[i], pcall_('GET', KEYS[i])
  local algorithm, _, _, _, _, period, q, fs, fn, fp, cs, cn, cp = unpack_('>I1I1I4I8I4c8I4I8I4I4I8I4I4', ARGV[i + 2])
  -- How far ahead the bucket is: seconds, nanoseconds and a fraction.
  local ds, dn, dp, outcome, others = 0, 0, 0, ALLOWED, ''
  if before then
    if type(before) == 'table' then
      -- It is no string; anything else that is wrong, is wrong with all of it.
      if not string.find(before.err, 'WRONGTYPE', 1, true) then return before end
      outcome, before = UNFIT, ''
    else
      local format, of, known, stored, s, n, p, stored_q
      if #before >= 31 then
        format, of, known, stored, s, n, p, stored_q = unpack_('>I1I1I1c8I8I4I4I4', before)
      end
      if format == 1 and of == algorithm and known > 1 and #before == 3 + 28 * known then
        -- Other limits had other periods. The state of this one comes first, and the others stay.
        local place = 4
        while place < #before and sub(before, place, place + 7) ~= period do place = place + 28 end
        if place < #before then
          stored, s, n, p, stored_q = unpack_('>c8I8I4I4I4', before, place)
          others = sub(before, 4, place - 1) .. sub(before, place + 28)
          if place > 4 then others = sub(others, 1, 4 * 28) end
        end
      elseif #before ~= 31 or known ~= 1 then
        stored = nil
      end
      -- What no state can be is told by those who know more of them.
      if format ~= 1 or of ~= algorithm or stored ~= period
        or s >= 18446744073 or n >= 1e9 or (p > 0 and p >= stored_q) then
        outcome = UNFIT
      else
        if stored_q ~= q and p > 0 then
          p = 0; n = n + 1
          if n == 1e9 then n = 0; s = s + 1 end
        end
        if s > now_s or (s == now_s and n >= now_n) then
          ds, dn, dp = s - now_s, n - now_n, p
          if dn < 0 then dn = dn + 1e9; ds = ds - 1 end
          if ds > fs or (ds == fs and (dn > fn or (dn == fn and dp > fp))) then outcome = UNFIT end
        end
      end
    end
  end
  -- Once a key does not fit, what comes after it has to wait for what is decided elsewhere.
  if unfit and unfit[key] then outcome = UNFIT end
  if outcome == UNFIT then
    unfit = unfit or {}
    unfit[key] = true
  else
    local ts, tn, tp = ds + cs, dn + cn, dp + cp
    if tp >= q then tp = tp - q; tn = tn + 1 end
    if tn >= 1e9 then tn = tn - 1e9; ts = ts + 1 end
    if ts > fs or (ts == fs and (tn > fn or (tn == fn and tp > fp))) then
      outcome = DENIED
    else
      local ms = ts * 1000 + ceil((tp > 0 and tn + 1 or tn) / 1e6) + longer
      ts, tn = ts + now_s, tn + now_n
      if tn >= 1e9 then tn = tn - 1e9; ts = ts + 1 end
      local count = 1
      if others ~= '' then
        count = count + #others / 28
        ms = max(ms, call('PTTL', key))
      end
      call('SET', key, pack_('>I1I1I1c8I8I4I4I4', 1, algorithm, count, period, ts, tn, tp, q) .. others, 'PX', ms)
    end
  end
  answers[2 * i] = outcome
  answers[2 * i + 1] = before or ''
end
return answers
