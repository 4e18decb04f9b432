local bit = require("bit")

local crcs = {}
for byte = 0, 255 do
  local crc = byte
  for _ = 1, 8 do
    crc = bit.bxor(bit.rshift(crc, 1), bit.band(0xedb88320, -bit.band(crc, 1)))
  end
  crcs[byte] = crc
end

local function crc32(text)
  local crc = -1
  for index = 1, #text do
    crc = bit.bxor(crcs[bit.band(bit.bxor(crc, text:byte(index)), 0xff)], bit.rshift(crc, 8))
  end
  return bit.bnot(crc) % 2 ^ 32
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local user = headers:get("x-user-id")
  local lane = "production"
  if user and user ~= "" and crc32("release-42:" .. user) % 10000 < 1000 then
    lane = "canary"
  end
  headers:replace("x-swimlane", lane)
end
