// The machine a figure was measured on.
#pragma once

#include <nlohmann/json.hpp>

namespace shunt::bench {

// {"cpu", "tsc_mhz", "hugepages": 2 MiB pages reserved, "pages": what regions lie on: "reserved", "transparent" or
// "small"}.
nlohmann::json machine();

}  // namespace shunt::bench
