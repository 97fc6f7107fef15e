-- Asks token-broker whether the visitor may use the API; used by haproxy.cfg beside this file.
--
-- Only the Authorization header of the visitor is passed on, and for a token that is bound to a key (docs/dpop.md) the proof
-- and the request that it must be for. Everything but 200, 401 and 403 is "unknown": the
-- configuration answers 503.

local identity = { "x-auth-user", "x-auth-username", "x-auth-name", "x-auth-email", "x-auth-client", "x-auth-scope" }
local unavailable = '{"type":"about:blank","title":"Service Unavailable","status":503,' ..
    '"code":"temporarily_unavailable","detail":"The service is temporarily unavailable. Try again shortly."}'

local function first(headers, name)
    return headers and headers[name] and headers[name][0] or ""
end

core.register_action("token_broker", { "http-req" }, function(txn, url)
    local visitors = txn.http:req_get_headers()
    local headers = {
        ["x-forwarded-method"] = { txn.sf:method() },
        ["x-forwarded-proto"] = { txn.sf:ssl_fc() == "1" and "https" or "http" },
        ["x-forwarded-host"] = { first(visitors, "host") },
        ["x-forwarded-uri"] = { txn.sf:path() },
    }
    for _, name in ipairs({ "authorization", "dpop" }) do
        if visitors[name] then
            headers[name] = {}
            for position, value in pairs(visitors[name]) do
                headers[name][position] = value
            end
        end
    end
    local answer = core.httpclient():get({ url = url, headers = headers, timeout = 10000 })
    local status = answer and answer.status or 0
    txn:set_var("txn.broker_status", status)
    if status == 200 then
        for _, name in ipairs(identity) do
            txn:set_var("txn." .. name:gsub("-", "_"), first(answer.headers, name))
        end
    elseif status == 401 or status == 403 then
        txn:set_var("txn.broker_body", answer.body or "")
        txn:set_var("txn.broker_challenge", first(answer.headers, "www-authenticate"))
        local nonce = first(answer.headers, "dpop-nonce")
        if nonce ~= "" then
            txn:set_var("txn.broker_nonce", nonce)
        end
    else
        txn:set_var("txn.broker_body", unavailable)
    end
end, 1)
