-- wrk -s charge.lua URL -- BODY KEY PREFIX: one charge a request; with a prefix, each has an Idempotency-Key of its own.
-- One thread only: the number that makes the keys unique is the thread's.
local prefix
local number = 0

function init(args)
  wrk.method = "POST"
  wrk.body = args[1]
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["X-API-Key"] = args[2]
  prefix = args[3]
end

function request()
  if prefix then
    number = number + 1
    wrk.headers["Idempotency-Key"] = prefix .. number
  end
  return wrk.format()
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"answers": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
