// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "firedrill/v1/fault.pb.h"
#include "google/protobuf/duration.pb.h"

// The parts of words.h, by area; each is empty for kinds of the other area.
namespace firedrill::controller {

/// words_traffic.cc
std::string TrafficFaultInWords(const v1::Fault& fault);
std::vector<std::string> TrafficEffects(const v1::Fault& fault);

/// words_host.cc
std::string HostFaultInWords(const v1::Fault& fault);
std::vector<std::string> HostEffects(const v1::Fault& fault);

/// "processes named redis-server and of unit shop.service".
std::string ProcessesInWords(const v1::ProcessSelector& selector);

/// What a message's field means when it is left out, as its options say.
std::string DefaultOf(const google::protobuf::Message& message, const char* field);

/// The duration, as people write it.
std::string TimeText(const google::protobuf::Duration& duration);

/// The share of packets that are lost in the long run, 0 to 1.
double LostShare(const v1::PacketLoss& loss);

}  // namespace firedrill::controller
