#ifndef PENSTOCK_BROKER_LIMIT_INFO_H_
#define PENSTOCK_BROKER_LIMIT_INFO_H_

#include <string>

namespace penstock::broker {

// One line of `penstock limits`.
struct LimitInfo {
  std::string option;  // for instance limits.payload
  std::string value;   // with its unit
  std::string default_value;
  std::string description;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_LIMIT_INFO_H_
