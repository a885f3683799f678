#include "src/api/error.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace shunt::api {
namespace {

using nlohmann::json;

TEST(ApiError, HasEveryKey) {
    const Error error{"weight: 1001 is out of range", "use 0 to 1000",    "f.toml", 7, 10,
                      "service.web.weight",           "/service/0/weight"};
    EXPECT_EQ(error_document(error),
              json::parse(R"({"error": {"message": "weight: 1001 is out of range", "file": "f.toml",
        "line": 7, "column": 10, "key": "service.web.weight", "remedy": "use 0 to 1000"}})"));
    EXPECT_EQ(error.text(), "f.toml:7:10: weight: 1001 is out of range; use 0 to 1000");
}

TEST(ApiError, AbsentIsNull) {
    EXPECT_EQ(
        to_json(Error{.message = "it is not"}),
        json::parse(
            R"({"message": "it is not", "file": null, "line": null, "column": null, "key": null, "remedy": null})"));
}

}  // namespace
}  // namespace shunt::api
