-- Counts, for wrk, how many requests were admitted and how many were refused.
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init()
    admitted, refused = 0, 0
end

function response(status)
    if status == 200 then
        admitted = admitted + 1
    elseif status == 429 then
        refused = refused + 1
    else
        print("unexpected status " .. status)
    end
end

function done()
    local all, none = 0, 0
    for _, thread in ipairs(threads) do
        all = all + thread:get("admitted")
        none = none + thread:get("refused")
    end
    print("admitted " .. all)
    print("refused " .. none)
end
