import java.lang.reflect.Field;
import java.util.Base64;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.model.triton.TritonInferenceModelFunction;
import org.apache.flink.model.triton.TritonModelProviderFactory;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.factories.ModelProviderFactory;
import org.apache.flink.table.functions.ScalarFunction;
import org.apache.flink.table.ml.ModelProvider;
import org.apache.flink.table.types.logical.LogicalType;

/**
 * Flink SQL's ML_PREDICT with its model provider for Triton, in one process. Arguments: brokers
 * source target group triton-http model array|text parallelism in-flight guarantee checkpoints
 *
 * <p>The provider sends one image a request, as JSON over HTTP. An image goes as an array of
 * numbers, as its documentation has it, or as text in base64, which is a third of the JSON.
 */
public final class FlinkTriton {
  private static final long CHECKPOINT_MS = 500; // as often as the bridge commits

  /** The bytes of an image as numbers. */
  public static final class Numbers extends ScalarFunction {
    public float[] eval(byte[] pixels) {
      float[] numbers = new float[pixels.length];
      for (int i = 0; i < pixels.length; i++) numbers[i] = pixels[i] & 0xff;
      return numbers;
    }
  }

  /** The bytes of an image as text; of a lone text the provider forgets the batch's dimension. */
  public static final class Text extends ScalarFunction {
    public String[] eval(byte[] pixels) {
      return new String[] {Base64.getEncoder().encodeToString(pixels)};
    }
  }

  /**
   * The provider without two faults of 2.3.0 that keep it from running at all: a check whose
   * condition is the wrong way round, so that it refuses every model, and a buffer that Flink
   * cannot serialize. All else is the provider's own.
   */
  public static final class Provider extends TritonModelProviderFactory {
    @Override
    public String factoryIdentifier() {
      return "triton-that-runs";
    }

    @Override
    public ModelProvider createModelProvider(Context context) {
      FactoryUtil.ModelProviderFactoryHelper helper =
          FactoryUtil.createModelProviderFactoryHelper(this, context);
      helper.validate();
      return new TritonModelProviderFactory.Provider(new Unchecked(context, helper.getOptions()));
    }
  }

  /** Calls Triton. */
  public static final class Unchecked extends TritonInferenceModelFunction {
    public Unchecked(ModelProviderFactory.Context context, ReadableConfig options) {
      super(context, options);
      try { // its buffer for compressed requests, of which there are none
        Field buffer = TritonInferenceModelFunction.class.getDeclaredField("compressionBuffer");
        buffer.setAccessible(true);
        buffer.set(this, null);
      } catch (ReflectiveOperationException error) {
        throw new IllegalStateException(error);
      }
    }

    @Override
    protected void validateSingleColumnSchema(
        ResolvedSchema schema, LogicalType expected, String which) {}
  }

  public static void main(String[] args) {
    String brokers = args[0], group = args[3], model = args[5], guarantee = args[9];
    boolean array = args[6].equals("array");
    int parallelism = Integer.parseInt(args[7]);
    Configuration configuration = new Configuration();
    configuration.setString("execution.checkpointing.dir", args[10]);
    configuration.setString("table.exec.resource.default-parallelism", args[7]);
    configuration.setString("taskmanager.memory.network.min", "64mb");
    configuration.setString("taskmanager.memory.network.max", "64mb");
    StreamExecutionEnvironment flink =
        StreamExecutionEnvironment.createLocalEnvironment(parallelism, configuration);
    flink.enableCheckpointing(
        CHECKPOINT_MS,
        guarantee.equals("exactly-once")
            ? CheckpointingMode.EXACTLY_ONCE
            : CheckpointingMode.AT_LEAST_ONCE);
    StreamTableEnvironment sql = StreamTableEnvironment.create(flink);
    sql.createTemporarySystemFunction("numbers", Numbers.class);
    sql.createTemporarySystemFunction("text", Text.class);
    String kafka =
        "'connector' = 'kafka', 'properties.bootstrap.servers' = '" + brokers + "',"
            + " 'key.format' = 'raw', 'key.fields' = 'id', 'value.fields-include' = 'EXCEPT_KEY',";
    sql.executeSql(
        "CREATE TABLE images (id STRING, pixels BYTES) WITH (" + kafka
            + " 'topic' = '" + args[1] + "', 'properties.group.id' = '" + group + "',"
            + " 'scan.startup.mode' = 'group-offsets',"
            + " 'properties.auto.offset.reset' = 'earliest', 'value.format' = 'raw')");
    sql.executeSql(
        "CREATE TABLE answers (id STRING, scores ARRAY<FLOAT NOT NULL>) WITH (" + kafka
            + " 'topic' = '" + args[2] + "', 'value.format' = 'json',"
            + " 'sink.delivery-guarantee' = '" + guarantee + "',"
            + " 'sink.transactional-id-prefix' = '" + group + "',"
            + " 'properties.transaction.timeout.ms' = '60000',"
            + " 'properties.linger.ms' = '1', 'properties.compression.type' = 'lz4')");
    sql.executeSql(
        "CREATE MODEL network INPUT (`INPUT__0` " + (array ? "ARRAY<FLOAT NOT NULL>" : "ARRAY<STRING>")
            + ") OUTPUT (`OUTPUT__0` ARRAY<FLOAT NOT NULL>) WITH ('provider' = 'triton-that-runs',"
            + " 'endpoint' = 'http://" + args[4] + "/v2/models', 'model-name' = '" + model + "',"
            + " 'model-version' = '1')");
    sql.executeSql(
        "CREATE TEMPORARY VIEW inputs AS SELECT id, " + (array ? "numbers" : "text")
            + "(pixels) AS input FROM images");
    sql.executeSql(
        "INSERT INTO answers SELECT id, `OUTPUT__0` FROM ML_PREDICT(TABLE inputs, MODEL network,"
            + " DESCRIPTOR(input), MAP['async', 'true', 'output-mode', 'ALLOW_UNORDERED',"
            + " 'max-concurrent-operations', '" + args[8] + "'])");
  }
}
