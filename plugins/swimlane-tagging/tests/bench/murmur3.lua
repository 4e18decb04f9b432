local bit = require("bit")

-- The product of 32 bits; a number of Lua has 53.
local function multiply(a, b)
  local high = bit.rshift(a, 16) * b % 65536 * 65536
  return bit.tobit((high + bit.band(a, 0xffff) * b) % 2 ^ 32)
end

local function scramble(block)
  return multiply(bit.rol(multiply(block, 0xcc9e2d51), 15), 0x1b873593)
end

-- MurmurHash3_x86_32 with seed 0.
local function murmur3(text)
  local hash = 0
  local tail = #text - #text % 4
  for index = 1, tail, 4 do
    local a, b, c, d = text:byte(index, index + 3)
    local block = bit.bor(a, bit.lshift(b, 8), bit.lshift(c, 16), bit.lshift(d, 24))
    hash = bit.bxor(hash, scramble(block))
    hash = bit.tobit(multiply(bit.rol(hash, 13), 5) + 0xe6546b64)
  end
  local block = 0
  for index = #text, tail + 1, -1 do
    block = bit.bor(bit.lshift(block, 8), text:byte(index))
  end
  if block ~= 0 then
    hash = bit.bxor(hash, scramble(block))
  end
  hash = bit.bxor(hash, #text)
  hash = multiply(bit.bxor(hash, bit.rshift(hash, 16)), 0x85ebca6b)
  hash = multiply(bit.bxor(hash, bit.rshift(hash, 13)), 0xc2b2ae35)
  return bit.bxor(hash, bit.rshift(hash, 16)) % 2 ^ 32
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local user = headers:get("x-user-id")
  local lane = "production"
  if user and user ~= "" and murmur3("release-42:" .. user) % 10000 < 1000 then
    lane = "canary"
  end
  headers:replace("x-swimlane", lane)
end
