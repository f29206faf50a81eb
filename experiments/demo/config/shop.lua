-- SPDX-License-Identifier: Apache-2.0
-- The shop: each page counts a visit and reads its text in redis, with short time-outs and one more try, so that a slow
-- or lossy cache is felt and a dead one is told to the user. Its figures are at :9145/metrics.
local redis = require "nginx.redis"
local figures = ngx.shared.figures

local CACHE, PORT, TIMEOUT_MS, TRIES = "10.77.0.30", 6379, 200, 2
local BOUNDS = {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5}

local function visit(item)
  local cache = redis:new()
  cache:set_timeout(TIMEOUT_MS)
  local ok, problem = cache:connect(CACHE, PORT)
  if not ok then return nil, problem end
  local count
  count, problem = cache:incr("visits:" .. item)
  if not count then
    cache:close()
    return nil, problem
  end
  cache:set_keepalive(10000, 64)
  return count
end

local shop = {}

function shop.answer()
  local item, count, problem = ngx.var.uri:match("(%w*)$"), nil, nil
  for _ = 1, TRIES do
    count, problem = visit(item)
    if count then break end
  end
  if not count then
    ngx.status = ngx.HTTP_SERVICE_UNAVAILABLE
    ngx.say("the cache does not answer: ", problem)
    return
  end
  ngx.say("item ", item, ", visited ", count, " times")
end

-- Counts the request by its status, and its time since it reached the front door (seconds).
function shop.observe()
  ngx.update_time()
  local arrived_us = tonumber(ngx.req.get_headers()["X-Request-Start"])
  local start = arrived_us and arrived_us / 1e6 or ngx.req.start_time()
  local seconds = math.max(0, ngx.now() - start)
  figures:incr("status " .. ngx.status, 1, 0)
  figures:incr("sum", seconds, 0)
  for i, bound in ipairs(BOUNDS) do
    if seconds <= bound then
      figures:incr("bucket " .. i, 1, 0)
      break
    end
  end
  figures:incr("count", 1, 0)
end

function shop.metrics()
  ngx.header["Content-Type"] = "text/plain; version=0.0.4"
  ngx.say("# HELP shop_requests_total Requests answered, by HTTP status.\n# TYPE shop_requests_total counter")
  for _, key in ipairs(figures:get_keys(0)) do
    local status = key:match("^status (%d+)$")
    if status then ngx.say('shop_requests_total{code="', status, '"} ', figures:get(key)) end
  end
  ngx.say("# HELP shop_request_seconds Time of a request from the front door to the end of its answer.\n# TYPE shop_request_seconds histogram")
  local below = 0
  for i, bound in ipairs(BOUNDS) do
    below = below + (figures:get("bucket " .. i) or 0)
    ngx.say('shop_request_seconds_bucket{le="', bound, '"} ', below)
  end
  local count = figures:get("count") or 0
  ngx.say('shop_request_seconds_bucket{le="+Inf"} ', count)
  ngx.say("shop_request_seconds_sum ", figures:get("sum") or 0)
  ngx.say("shop_request_seconds_count ", count)
end

return shop
