// The keys of the configuration, once for both formats: TOML and JSON are turned into the same tree of values and back.
#pragma once

#include "src/config/desired_state.h"
#include "src/config/reader.h"

namespace shunt::config {

constexpr std::uint64_t document_version = 1;

void read_state(TableReader& table, DesiredState& state);
void read_service(TableReader& table, Service& service);
void read_backend(TableReader& table, Backend& backend);

// In the order in which people look for keys.
using Tree = nlohmann::ordered_json;

// Every key is there, absent is null; or, for files, only what differs from the defaults and what an operator looks for
// first.
enum class Form : std::uint8_t { complete, brief };
Tree write_state(const DesiredState& state, Form form);
Tree write_node(const Node& node, Form form);
Tree write_dataplane(const Dataplane& dataplane, Form form);
Tree write_port(const Port& port, Form form);
Tree write_next_hop(const NextHop& hop, Form form);
Tree write_service(const Service& service, Form form);
Tree write_backend(const Backend& backend, Form form);
Tree write_api(const DesiredState& state, Form form);
Tree write_announce(const DesiredState& state, Form form);
Tree write_http(const DesiredState& state, Form form);
Tree write_ha(const DesiredState& state, Form form);    // null if there is none
Tree write_sync(const DesiredState& state, Form form);  // the same

// A value on one line, as TOML has it: "text", 5, [1, 2], { key = 5 }.
std::string one_line(const Tree& value);

}  // namespace shunt::config
