-- What a prototype does: no parser, the last brace.
function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get(":path"):sub(1, 5) == "/json" then
    local metadata = handle:streamInfo():dynamicMetadata()
    metadata:set("stamp", "id", headers:get("x-id"))
  end
end

function envoy_on_response(handle)
  local stamp = handle:streamInfo():dynamicMetadata():get("stamp")
  if stamp == nil or handle:headers():get("content-type") ~= "application/json" then
    return
  end
  local body = handle:body()
  local text = body:getBytes(0, body:length())
  local members = ',"server":"bench","request_id":"' .. stamp["id"] .. '"}'
  local size = body:setBytes((text:gsub("}%s*$", function() return members end)))
  handle:headers():replace("content-length", size)
end
