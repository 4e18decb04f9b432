function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path")
  if path == "/banana" or path:sub(1, 8) == "/banana/" then
    handle:streamInfo():dynamicMetadata():set("bench", "matched", true)
    local rewritten = path:gsub("banana/([0-9]*)", "status/%1")
    if rewritten ~= path then
      headers:replace("x-original-path", path)
      headers:replace(":path", rewritten)
    end
  elseif headers:get("x-original-path") then
    headers:remove("x-original-path")
  end
end

function envoy_on_response(handle)
  if handle:streamInfo():dynamicMetadata():get("bench") then
    local headers = handle:headers()
    headers:replace("who-am-i", "path-rewrite")
    headers:replace("injected-by", "proxy-wasm")
    headers:replace("site", "shop.example.com")
    headers:replace("author", "阳明")
  end
end
