// The language in which an operator says which flows are meant (docs/reference.md, "Flow filters").
#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/result.h"
#include "src/shm/layout.h"
#include "src/shm/tables.h"

namespace shunt::api {

// Words joined by spaces, all of which must hold; "all" alone, or nothing, means every flow. Names are looked up in
// `tables`; one that they do not know is an error, as is a worker beyond `workers`. Errors point at the column, counted
// from 1, of a file called "filter".
Result<shm::FlowFilter> parse_flow_filter(std::string_view text, const shm::Tables& tables, std::uint32_t workers);

}  // namespace shunt::api
