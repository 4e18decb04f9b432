-- Does one thing many times in every request, so that what it costs once can be told: ci/probe does the same.
-- The benchmark puts OPERATION and TIMES before this.

local bit = require("bit")

-- CRC-32 as in zip, a bit at a time.
local function crc32(text)
  local crc = -1
  for index = 1, #text do
    crc = bit.bxor(crc, text:byte(index))
    for _ = 1, 8 do
      crc = bit.bxor(bit.rshift(crc, 1), bit.band(0xedb88320, -bit.band(crc, 1)))
    end
  end
  return bit.bnot(crc)
end

local operations = {
  ["nothing"] = function() end,
  ["read-header"] = function(handle) return handle:headers():get("x-user-id") end,
  ["read-absent-header"] = function(handle) return handle:headers():get("x-absent") end,
  ["read-all-headers"] = function(handle)
    local all = {}
    for name, value in pairs(handle:headers()) do
      all[name] = value
    end
    return all
  end,
  ["write-header"] = function(handle) handle:headers():replace("x-lane", "canary") end,
  ["read-property"] = function(handle) return handle:streamInfo():downstreamDirectRemoteAddress() end,
  ["read-clock"] = function(handle) return handle:timestamp() end,
  ["hash"] = function() return crc32("release-42:7d444840-9dc0-11d1-b245-5ffdce74fad2") end,
  ["regex"] = function() return (string.gsub("/banana/418", "banana/([0-9]*)", "status/%1")) end,
}

local operation = operations[OPERATION]

function envoy_on_request(handle)
  for _ = 1, TIMES do
    operation(handle)
  end
end
