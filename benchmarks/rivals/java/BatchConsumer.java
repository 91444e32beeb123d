import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import inference.GrpcService.InferParameter;
import inference.GrpcService.ModelInferRequest;
import inference.GrpcService.ModelInferResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's Java client and Triton's gRPC: whatever a poll brings goes to Triton as batches, several
 * at a time, without a wait for more. Arguments: brokers source target group triton model batch
 * in-flight at-least-once|exactly-once
 *
 * <p>At least once: an offset is committed when every answer before it is acknowledged. Exactly
 * once: answers and offsets in transactions, as Kafka's documentation shows it.
 */
public final class BatchConsumer {
  private static final long COMMIT_MS = 500; // as the bridge
  private static final int TOP_K = 3;
  private static final int SIDE = 32;
  private static final MethodDescriptor<ModelInferRequest, ModelInferResponse> INFER =
      MethodDescriptor.<ModelInferRequest, ModelInferResponse>newBuilder()
          .setType(MethodDescriptor.MethodType.UNARY)
          .setFullMethodName("inference.GRPCInferenceService/ModelInfer")
          .setRequestMarshaller(ProtoUtils.marshaller(ModelInferRequest.getDefaultInstance()))
          .setResponseMarshaller(ProtoUtils.marshaller(ModelInferResponse.getDefaultInstance()))
          .build();

  private final KafkaConsumer<byte[], byte[]> consumer;
  private final KafkaProducer<byte[], byte[]> producer;
  private final Channel triton;
  private final Semaphore slots;
  private final Deque<Batch> sent = new ArrayDeque<>();
  private final Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
  private final AtomicReference<Throwable> failure = new AtomicReference<>();
  private final String target;
  private final String model;
  private final int size;
  private final int inFlight;
  private final boolean exactlyOnce;

  /** Images of one request, in the order in which they were read. */
  private static final class Batch {
    final List<ConsumerRecord<byte[], byte[]>> records;
    final AtomicInteger open;
    final CountDownLatch acknowledged = new CountDownLatch(1);

    Batch(List<ConsumerRecord<byte[], byte[]>> records) {
      this.records = records;
      this.open = new AtomicInteger(records.size());
    }

    void acknowledge() {
      if (open.decrementAndGet() == 0) acknowledged.countDown();
    }
  }

  private BatchConsumer(String[] args) {
    String brokers = args[0];
    target = args[2];
    model = args[5];
    size = Integer.parseInt(args[6]);
    inFlight = Integer.parseInt(args[7]);
    exactlyOnce = args[8].equals("exactly-once");
    slots = new Semaphore(inFlight);
    triton =
        NettyChannelBuilder.forTarget(args[4]).usePlaintext().directExecutor().build();
    consumer =
        new KafkaConsumer<>(
            Map.of(
                "bootstrap.servers", brokers,
                "group.id", args[3],
                "auto.offset.reset", "earliest",
                "enable.auto.commit", "false",
                "max.poll.records", String.valueOf(size * inFlight),
                "partition.assignment.strategy",
                    "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"),
            new ByteArrayDeserializer(),
            new ByteArrayDeserializer());
    Map<String, Object> producing =
        new HashMap<>(
            Map.of(
                "bootstrap.servers", brokers,
                "enable.idempotence", "true",
                "linger.ms", "1",
                "batch.size", String.valueOf(64 * 1024),
                "compression.type", "lz4"));
    if (exactlyOnce) producing.put("transactional.id", args[3]);
    producer = new KafkaProducer<>(producing, new ByteArraySerializer(), new ByteArraySerializer());
    consumer.subscribe(List.of(args[1]));
  }

  private void run() throws Exception {
    if (exactlyOnce) producer.initTransactions();
    boolean open = false;
    long commitAt = 0;
    while (true) {
      List<ConsumerRecord<byte[], byte[]>> batch = new ArrayList<>(size);
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(20))) {
        if (exactlyOnce && !open) {
          producer.beginTransaction();
          open = true;
          commitAt = System.currentTimeMillis() + COMMIT_MS;
        }
        batch.add(record);
        if (batch.size() == size) {
          send(new Batch(batch));
          batch = new ArrayList<>(size);
        }
      }
      if (!batch.isEmpty()) send(new Batch(batch));
      if (failure.get() != null) throw new IllegalStateException(failure.get());
      settle(false);
      if (exactlyOnce ? !open : done.isEmpty()) continue;
      if (System.currentTimeMillis() < commitAt) continue;
      if (exactlyOnce) {
        settle(true);
        producer.sendOffsetsToTransaction(new HashMap<>(done), consumer.groupMetadata());
        producer.commitTransaction();
        open = false;
      } else {
        consumer.commitAsync(new HashMap<>(done), null);
        commitAt = System.currentTimeMillis() + COMMIT_MS;
      }
      done.clear();
    }
  }

  /** Take what is acknowledged, in order; or wait until all of it is. */
  private void settle(boolean all) throws Exception {
    while (!sent.isEmpty() && (all || sent.peek().acknowledged.getCount() == 0)) {
      sent.peek().acknowledged.await();
      if (failure.get() != null) throw new IllegalStateException(failure.get());
      for (ConsumerRecord<byte[], byte[]> record : sent.poll().records) {
        TopicPartition partition = new TopicPartition(record.topic(), record.partition());
        done.put(partition, new OffsetAndMetadata(record.offset() + 1));
      }
    }
  }

  private void send(Batch batch) throws InterruptedException {
    List<ByteString> parts = new ArrayList<>(batch.records.size());
    for (ConsumerRecord<byte[], byte[]> record : batch.records) {
      parts.add(UnsafeByteOperations.unsafeWrap(record.value()));
    }
    ModelInferRequest request =
        ModelInferRequest.newBuilder()
            .setModelName(model)
            .addInputs(
                ModelInferRequest.InferInputTensor.newBuilder()
                    .setName("INPUT__0")
                    .setDatatype("UINT8")
                    .addShape(batch.records.size())
                    .addShape(SIDE)
                    .addShape(SIDE)
                    .addShape(3))
            .addOutputs(
                ModelInferRequest.InferRequestedOutputTensor.newBuilder()
                    .setName("OUTPUT__0")
                    .putParameters(
                        "classification",
                        InferParameter.newBuilder().setInt64Param(TOP_K).build()))
            .addRawInputContents(ByteString.copyFrom(parts))
            .build();
    slots.acquire();
    sent.add(batch);
    ClientCalls.asyncUnaryCall(
        triton.newCall(INFER, CallOptions.DEFAULT),
        request,
        new StreamObserver<>() {
          @Override
          public void onNext(ModelInferResponse response) {
            slots.release();
            answer(batch, response.getRawOutputContents(0));
          }

          @Override
          public void onError(Throwable error) {
            fail(batch, error);
          }

          @Override
          public void onCompleted() {}
        });
  }

  private void answer(Batch batch, ByteString raw) {
    ByteBuffer buffer = raw.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    for (ConsumerRecord<byte[], byte[]> record : batch.records) {
      StringBuilder json = new StringBuilder(160).append('[');
      for (int i = 0; i < TOP_K; i++) {
        byte[] text = new byte[buffer.getInt()];
        buffer.get(text);
        String[] parts = new String(text, StandardCharsets.UTF_8).split(":", 3);
        json.append(i == 0 ? "" : ", ").append("{\"label\": \"").append(parts[2])
            .append("\", \"class_id\": ").append(parts[1])
            .append(", \"score\": ").append(parts[0]).append('}');
      }
      byte[] value = json.append(']').toString().getBytes(StandardCharsets.UTF_8);
      producer.send(
          new ProducerRecord<>(target, record.key(), value),
          (metadata, error) -> {
            if (error == null) batch.acknowledge();
            else fail(batch, error);
          });
    }
  }

  private void fail(Batch batch, Throwable error) {
    failure.compareAndSet(null, error);
    batch.acknowledged.countDown();
    slots.release();
  }

  public static void main(String[] args) throws Exception {
    new BatchConsumer(args).run();
  }
}
