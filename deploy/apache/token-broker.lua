-- Asks token-broker whether the visitor may use the API; used by token-broker.conf beside this file.
--
-- Only the Authorization header of the visitor is passed on, and for a token that is bound to a key (docs/dpop.md) the proof
-- and the request that it must be for. Everything but 200, 401 and 403 is "unknown" and answered
-- with 503.

local http = require "socket.http"
local ltn12 = require "ltn12"

local ADDRESS = "http://127.0.0.1:8080/authz/orders"
local IDENTITY = { "X-Auth-User", "X-Auth-Username", "X-Auth-Name", "X-Auth-Email", "X-Auth-Client", "X-Auth-Scope" }
local UNAVAILABLE = '{"type":"about:blank","title":"Service Unavailable","status":503,' ..
    '"code":"temporarily_unavailable","detail":"The service is temporarily unavailable. Try again shortly."}'

-- Seconds to wait for the broker.
http.TIMEOUT = 10

-- Every spelling that programs read as X-Auth-…
local function remove_spoofed(r)
    for name, _ in pairs(r:headers_in_table()) do
        if name:lower():match("^x[-_.]auth") then
            r.headers_in[name] = nil
        end
    end
end

local function refuse(r, status, body, headers)
    for name, value in pairs(headers) do
        r.err_headers_out[name] = value
    end
    r.err_headers_out["Cache-Control"] = "no-store"
    r.content_type = "application/problem+json"
    r.status = status
    r:puts(body)
    return apache2.DONE
end

function check(r)
    remove_spoofed(r)
    local body = {}
    local _, status, headers = http.request({
        url = ADDRESS,
        headers = {
            ["Authorization"] = r.headers_in["Authorization"],
            ["DPoP"] = r.headers_in["DPoP"],
            ["X-Forwarded-Method"] = r.method,
            ["X-Forwarded-Proto"] = r.is_https and "https" or "http",
            ["X-Forwarded-Host"] = r.headers_in["Host"],
            ["X-Forwarded-Uri"] = r.unparsed_uri,
        },
        sink = ltn12.sink.table(body),
        redirect = false,
    })
    if status == 200 then
        for _, name in ipairs(IDENTITY) do
            r.headers_in[name] = headers[name:lower()] or ""
        end
        return apache2.DECLINED
    end
    if status == 401 or status == 403 then
        return refuse(r, status, table.concat(body), {
            ["WWW-Authenticate"] = headers["www-authenticate"],
            ["DPoP-Nonce"] = headers["dpop-nonce"],
        })
    end
    return refuse(r, 503, UNAVAILABLE, { ["Retry-After"] = "2" })
end
