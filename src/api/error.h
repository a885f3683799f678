// Errors as documents (CONTRACTS.md). The sentence for stderr is Error::text.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "src/base/result.h"

namespace shunt::api {

// {"message","file","line","column","key","remedy"}: every key is there, absent is null.
nlohmann::json to_json(const Error& error);

// {"error": to_json(error)}: what a command prints with --json.
nlohmann::json error_document(const Error& error);

}  // namespace shunt::api
