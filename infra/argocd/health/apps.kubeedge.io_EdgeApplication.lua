-- An edge application is healthy when all its objects are there and those of every node group are available.
local templates = 0
for _ in ipairs((obj.spec and obj.spec.workloadTemplate and obj.spec.workloadTemplate.manifests) or {}) do
  templates = templates + 1
end
local seen = 0
for _, workload in ipairs((obj.status and obj.status.workloadStatus) or {}) do
  seen = seen + 1
  if workload.conditions ~= "Available" then
    local name = (workload.identifier and workload.identifier.name) or "?"
    return { status = "Progressing", message = name .. " is not available yet" }
  end
end
if seen > 0 and seen >= templates then
  return { status = "Healthy", message = "Available in every node group" }
end
return { status = "Progressing", message = "Waiting for KubeEdge" }
