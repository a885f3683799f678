// The data plane that runs beside the one that is desired: [dataplane] is read when shunt-dataplane starts, and until
// then tables must speak of the ports that are there.
#pragma once

#include <string>
#include <vector>

#include "controlplane/publish/state_watch.h"
#include "src/config/desired_state.h"

namespace shunt::controlplane {

// Numbers the ports as the running data plane does, so that what is compiled fits it. Next hops behind ports that do
// not run are left out. Nothing changes while no data plane runs.
void fit_to_running(config::DesiredState& state, const Progress& progress);

// Where the running data plane is another than the desired one; sentences.
std::vector<std::string> differences(const config::Dataplane& desired, const Progress& progress);

}  // namespace shunt::controlplane
