-- judge(key, now, limit, window, burst): charges one request by the rules of Quota::judge.
--
-- limit   requests in a window
-- window  microseconds
-- burst   requests at once, or -1 for a fixed window
-- returns {passes, requests left, reset in milliseconds, wait in microseconds}
--
-- The counter is one string, 'w STARTED COUNT' (milliseconds) or 'a EXPECTED'
-- (microseconds). It goes with its end; a request that is refused writes nothing unless
-- the clock has stepped back.

local function keep(key, value, ends, now)
  redis.call('SET', key, value, 'PX', math.max(ends - now, 0) + SKEW)
end

local function judge_window(key, now, limit, window)
  local started, count = string.match(redis.call('GET', key) or '', '^w (%d+) (%d+)$')
  started, count = tonumber(started), tonumber(count)
  local held = started
  if not started or started - now > SKEW or now >= started + window then
    started, count, held = now, 0, nil
  end
  started = math.min(started, now)
  local passes = count < limit
  if passes then count = count + 1 end
  local reset = started + window
  if passes or started ~= held then
    keep(key, string.format('w %.0f %.0f', started, count), reset, now)
  end
  local wait = passes and 0 or math.max(reset - now, 0) * 1000
  return { passes and 1 or 0, math.max(limit - count, 0), reset, wait }
end

local function judge_arrival(key, now, limit, window, burst)
  local micros = now * 1000
  local interval = math.max(math.floor(window / math.max(limit, 1)), 1)
  -- When the next request would be expected if the whole burst had just been used.
  local full = micros + interval * burst
  local held = tonumber(string.match(redis.call('GET', key) or '', '^a (%d+)$'))
  local expected = micros
  if held and held <= full + SKEW * 1000 then
    expected = math.min(math.max(held, micros), full)
  end
  local next = expected + interval
  local passes = limit > 0 and next <= full
  local kept = passes and next or expected
  local reset = math.ceil(kept / 1000)
  if passes or held ~= kept then
    keep(key, string.format('a %.0f', kept), reset, now)
  end
  local wait = passes and 0 or math.max(next - full, 0)
  return { passes and 1 or 0, math.floor((full - kept) / interval), reset, wait }
end

local function judge(key, now, limit, window, burst)
  if burst < 0 then
    return judge_window(key, now, limit, math.floor(window / 1000))
  end
  return judge_arrival(key, now, limit, window, burst)
end
