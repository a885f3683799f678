#include "src/api/error.h"

#include <nlohmann/json.hpp>

namespace shunt::api {

using Json = nlohmann::json;

Json to_json(const Error& error) {
    const auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
    const auto number = [](std::uint32_t value) { return value == 0 ? Json() : Json(value); };
    return {{"message", text(error.message)}, {"file", text(error.file)}, {"line", number(error.line)},
            {"column", number(error.column)}, {"key", text(error.key)},   {"remedy", text(error.remedy)}};
}

Json error_document(const Error& error) { return {{"error", to_json(error)}}; }

}  // namespace shunt::api
