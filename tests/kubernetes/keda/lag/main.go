// Command lag asks KEDA's own Kafka scaler, again and again, what it makes of a group's lag.
//
// Its arguments are a trigger's metadata, as key=value; each line of its input is one poll, and each
// line of its output is what KEDA would hand to Kubernetes for it, as JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	"k8s.io/api/autoscaling/v2"
)

type answer struct {
	Lag       int64 `json:"lag"`
	Threshold int64 `json:"threshold"`
	Active    bool  `json:"active"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	metadata := map[string]string{}
	for _, pair := range os.Args[1:] {
		name, value, _ := strings.Cut(pair, "=")
		metadata[name] = value
	}
	ctx := context.Background()
	scaler, err := scalers.NewKafkaScaler(ctx, &scalersconfig.ScalerConfig{
		TriggerMetadata: metadata,
		AuthParams:      map[string]string{},
		MetricType:      v2.AverageValueMetricType,
	})
	if err != nil {
		return err
	}
	defer scaler.Close(ctx)
	threshold := scaler.GetMetricSpecForScaling(ctx)[0].External.Target.AverageValue.Value()
	polls := bufio.NewScanner(os.Stdin)
	for polls.Scan() {
		values, active, err := scaler.GetMetricsAndActivity(ctx, "lag")
		if err != nil {
			return err
		}
		line, err := json.Marshal(answer{values[0].Value.Value(), threshold, active})
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return polls.Err()
}
