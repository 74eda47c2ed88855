"""The Lua script with which Redis keeps the rate limits of a fleet; nothing interrupts it.

All times are Redis's own, in microseconds, so that the workers' clocks need not agree. A limit is kept twice, as
in LocalLimiter: starts are evenly spread, and no window holds more units than the limit even when some came late.
KEYS: one a limit. ARGV: a member unique to the call, since when it waits (0 when it asks for the first time), then
for each limit units wanted and allowed, step, window, catch-up, and the milliseconds for which to keep its key.
Returns 0 when the call may start now, else how long to wait before asking again, -1 when it may never, because no
window holds that much; and since when it waits.

A limit is one sorted set, so that it is lost as a whole or not at all: the starts of the last window by their times,
and before them, at score -1, the state: the last time that was seen, the next start, the units in the window, and a
ticket if there is one. Where there is no state, because the limit is new or Redis was flushed, restarted or short of
memory, it is unknown what has just started, so no call starts for one window. The same holds after Redis's clock went
back by more than a window (set, or that of another host after a failover); when it went back by less, what had
started counts for that much longer. A clock that jumps forward looks like a pause without calls, so the second of
such a jump may hold twice the limit: Redis offers scripts no monotonic clock.

The ticket keeps small calls from starving large ones: a small call needs one free unit, a large one perhaps an empty
window, which the small ones would never leave it. So the oldest call that lacked units leaves a ticket: its name,
since when it waits, and when it may start; younger ones then wait for it, and ask again soon after. Age orders the
calls of all limits alike, so that no two calls that need both limits wait for each other. A ticket whose call does not
come within two seconds is dropped.
"""

from __future__ import annotations

__all__ = ["SCRIPT"]

SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local me, since = ARGV[1], tonumber(ARGV[2])
if since == 0 then since = now end
local wait, states = 0, {}
for i, key in ipairs(KEYS) do
  local base = 3 + (i - 1) * 6
  local wanted, allowed = tonumber(ARGV[base]), tonumber(ARGV[base + 1])
  local window = tonumber(ARGV[base + 3])
  if wanted > allowed then return {-1, since} end
  local state = redis.call('ZRANGE', key, 0, 0)[1] or ''
  local last, next_start, held, ticket = string.match(state, '^(%d+) (%d+) (%d+)(.*)$')
  local known = last and now >= last - window
  if not known then next_start, held, ticket = now + window, 0, '' end
  local gone = known and now - window or '+inf'
  for _, start in ipairs(redis.call('ZRANGEBYSCORE', key, 0, gone)) do
    held = known and held - string.match(start, '%d+$') or 0
  end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', gone)
  wait = math.max(wait, next_start - now)
  local over = held + wanted - allowed
  local short = over > 0
  local starts = short and redis.call('ZRANGE', key, 0, over - 1, 'WITHSCORES') or {}
  for j = 1, #starts, 2 do
    if over <= 0 then break end
    over = over - string.match(starts[j], '%d+$')
    wait = math.max(wait, starts[j + 1] + window - now)
  end
  local holder, waits_since, due = string.match(ticket, '^ (%S+) (%d+) (%d+)$')
  if holder and now > due + 2000000 then holder, ticket = nil, '' end
  local mine = holder == me
  if holder and not mine and tonumber(waits_since) < since then
    wait = math.max(wait, due - now, 20000)
  else
    mine = mine or short
  end
  states[i] = {tonumber(next_start), tonumber(held), ticket, mine}
end
for i, key in ipairs(KEYS) do
  local base = 3 + (i - 1) * 6
  local next_start, held, ticket, mine = unpack(states[i])
  if mine then ticket = wait > 0 and string.format(' %s %.0f %.0f', me, since, now + wait) or '' end
  if wait <= 0 then
    local late = math.max(tonumber(ARGV[base + 2]), tonumber(ARGV[base + 4]))
    next_start = math.max(next_start, now - late) + ARGV[base + 2] * ARGV[base]
    held = held + ARGV[base]
    redis.call('ZADD', key, now, me .. ':' .. ARGV[base])
  end
  redis.call('ZADD', key, -1, string.format('%.0f %.0f %.0f', now, next_start, held) .. ticket)
  redis.call('PEXPIRE', key, ARGV[base + 5])
end
return {math.ceil(wait), since}
"""
