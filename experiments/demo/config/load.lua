-- SPDX-License-Identifier: Apache-2.0
-- For wrk: visitors who look at a page for about half a second, then at the next; 30 of them make 60 requests a second.
function delay() return math.random(400, 600) end
function request() return wrk.format("GET", "/item" .. math.random(1, 20)) end
