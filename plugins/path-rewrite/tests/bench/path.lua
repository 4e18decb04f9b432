function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path")
  if path == "/banana" or path:sub(1, 8) == "/banana/" then
    local rewritten = path:gsub("banana/([0-9]*)", "status/%1")
    if rewritten ~= path then
      headers:replace(":path", rewritten)
    end
  end
end
