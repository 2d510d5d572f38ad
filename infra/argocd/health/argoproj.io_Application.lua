-- Sync waves between applications wait for this: without it a parent does not look at its children's health.
local health = (obj.status and obj.status.health) or {}
if health.status == nil or health.status == "" then
  return { status = "Progressing", message = "The application was not looked at yet" }
end
return { status = health.status, message = health.message or "" }
